"""Domain and quality of documents: by rules (`tag`), by a student of labels (`student`, `tagging`), to look at (`look`)."""
