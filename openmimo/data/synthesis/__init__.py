"""Text made by a model, and problems chosen by what models make of them: `synth`, `curate`."""
