"""The 2,201 people of the Titanic: class, age, sex, and who survived."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

CLASSES = ("first", "second", "third", "crew")
# Dawson (1995), "The 'Unusual Episode' Data Revisited", Journal of Statistics
# Education 3(3): counts by class, in the order of CLASSES.
_COUNTS = {
    ("male", "child", "died"): (0, 0, 35, 0),
    ("female", "child", "died"): (0, 0, 17, 0),
    ("male", "adult", "died"): (118, 154, 387, 670),
    ("female", "adult", "died"): (4, 13, 89, 3),
    ("male", "child", "survived"): (5, 11, 13, 0),
    ("female", "child", "survived"): (1, 13, 14, 0),
    ("male", "adult", "survived"): (57, 14, 75, 192),
    ("female", "adult", "survived"): (140, 80, 76, 20),
}


def load_titanic() -> pd.DataFrame:
    """One row per person: `class_first, class_second, class_third, class_crew`, `sex`
    (1 is female), `age` (1 is a child) and `survived`, all 0 or 1.
    """
    import pandas as pd

    rows: list[dict[str, float]] = []
    for (sex, age, fate), counts in _COUNTS.items():
        for place, count in enumerate(counts):
            person = {f"class_{c}": float(i == place) for i, c in enumerate(CLASSES)}
            person["sex"] = float(sex == "female")
            person["age"] = float(age == "child")
            person["survived"] = float(fate == "survived")
            rows += [person] * count
    return pd.DataFrame(rows)


def split_titanic(seed: int, test: float = 0.25) -> dict[str, pd.DataFrame]:
    """Rows for training and for testing, drawn by the seed."""
    import numpy as np

    people = load_titanic()
    order = np.random.default_rng(seed).permutation(len(people))
    count = round(test * len(people))
    return {"train": people.iloc[order[count:]], "test": people.iloc[order[:count]]}
