"""Reports as pages: one file each, without a script and without anything that is loaded, drawn as inline SVG."""
