"""How much memory evaluators may take, where the user does not say."""

from surgery.backend import default_budget as default_budget
