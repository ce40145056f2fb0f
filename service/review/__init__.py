"""What those who run a project see: the named queries that API and pages share.

Each file answers one question, with records that go out as they are. What is computed of many labels is computed in the
lane of figures, of one state of the database, and kept until that state changes.
"""
