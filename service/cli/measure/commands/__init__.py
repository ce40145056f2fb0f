"""The subcommands of ``cai evaluate``: one file each, with its `service.cli.measure.measurement.Measurement`.

A file is found by being here, and its object, ``MEASUREMENT``, says all that others need to know of it.
"""
