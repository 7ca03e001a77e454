import sys

import pytest

from bessemer.base import lazily


def test_a_lazy_module_is_imported_by_the_first_look_at_it(monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)

    module = lazily.module("colorsys")

    assert "colorsys" not in sys.modules
    assert module.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)
    assert "colorsys" in sys.modules


def test_a_lazy_module_that_is_missing_is_told_where_it_is_needed() -> None:
    module = lazily.module("bessemer.base.nothing")

    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match=r"bessemer\.base\.nothing"):
            module.answer()
