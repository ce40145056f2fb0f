"""Files as they come: their bytes, kinds, and column names (`rows`, `packed`, `delimited`, `tables`, `naming`), and the
shapes that a row of prompts, answers and labels may have (`shapes`).
"""
