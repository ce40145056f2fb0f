"""What processes of `tests.warm` begin with: it is imported once, by the server that they are forks of."""
