"""The HTTP API: one file a resource, each with a ``router``, and what it answers in `service.answers`."""
