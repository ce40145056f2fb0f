"""How far people and judges agree on a project's items, and how each of them works."""
