"""Routes that ask judges, and the constitutions that they judge by."""
