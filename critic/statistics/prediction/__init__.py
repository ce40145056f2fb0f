"""Few human labels, used well: figures of many items from a judge's labels, corrected by people's on some of them."""
