"""The pages of one project, from its making to its figures."""
