"""Published constitutions: data only. Each file is ``<name>/<version>.yaml``; CHECKSUMS holds what was published."""
