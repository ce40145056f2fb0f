"""Certificates: what was measured of a judge, bound by hash to all that it depends on; and gates that ask for one."""
