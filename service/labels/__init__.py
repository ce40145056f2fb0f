"""How labels are asked for, checked, stored and compared."""
