"""The mix of the three stages from the sizes of the sources, by hand."""

import io
import tomllib

import pytest
from rich.console import Console

from openmimo.data.mix import plan_mix, print_mix, toml_of
from openmimo.data.pack import TokenStore
from openmimo.errors import UserError
from openmimo.sections import Stage

SIZES = {"web": 6_000, "ads": 2_000, "math": 1_000, "code": 1_000, "synthetic": 500}


def near(**shares):
    return pytest.approx(shares)


def test_stage_1_samples_down_and_up():
    """600 + 20 + 200 + 100 hundreds of tokens after weights of 0.1 and 2, and synthetic text left out."""
    shares = plan_mix(SIZES, {"ads": 0.1, "math": 2, "synthetic": 0}, {}, {})
    assert shares == near(web=60 / 92, ads=2 / 92, math=20 / 92, code=10 / 92, synthetic=0)


def test_stage_2_raises_math_and_code_together():
    shares = plan_mix(SIZES, {"ads": 0, "math": 3, "synthetic": 0}, {"math,code": 0.7}, {})
    assert shares == near(web=0.3, ads=0, math=0.7 * 3 / 4, code=0.7 / 4, synthetic=0)


def test_stage_3_adds_synthetic_text():
    shares = plan_mix(SIZES, {"ads": 0}, {"math,code": 0.7}, {"synthetic": 0.1})
    assert shares == near(web=0.27, ads=0, math=0.315, code=0.315, synthetic=0.1)


def test_the_line_is_a_recipes_mix():
    for weights in ({}, {"web": 1 / 3}, {"ads": 1e-9}):
        mix = tomllib.loads(toml_of(plan_mix(SIZES, weights, {}, {})))["mix"]
        Stage(name="s", tokens=1, length=8, rope_base=1, mix=mix)  # whose shares must sum to 1


@pytest.mark.parametrize(
    "options, message",
    [
        (({"poems": 1}, {}, {}), "no source 'poems'; there are web, ads"),
        (({}, {"math,verse": 0.7}, {}), "no source 'verse'"),
        (({}, {"math": 1.5}, {}), "cannot be raised to 1.5"),
        (({"math": 0}, {"math": 0.5}, {}), "cannot be raised"),
        (({}, {}, {"synthetic": 1.5}), "between 0 and 1"),
        (({"math": -1}, {}, {}), "at least 0"),
        ((dict.fromkeys(SIZES, 0), {}, {}), "nothing is left"),
    ],
)
def test_what_cannot_be_mixed_is_one_line(options, message):
    with pytest.raises(UserError, match=message):
        plan_mix(SIZES, *options)


def test_the_table_says_how_many_epochs(tmp_path):
    TokenStore.write(tmp_path, "math", [([1] * 100, 0)])
    TokenStore.write(tmp_path, "web", [([1] * 300, 0)])
    out = io.StringIO()
    print_mix(tmp_path, 800, [], ["math=0.5"], [], Console(file=out, width=120))
    assert "4.00" in out.getvalue() and "1.33" in out.getvalue()  # 400 of 100 tokens, 400 of 300
    assert "mix = { math = 0.5, web = 0.5 }" in out.getvalue()
    with pytest.raises(UserError, match="expected NAME=NUMBER"):
        print_mix(tmp_path, 1, ["math"], [], [], Console(file=out))
