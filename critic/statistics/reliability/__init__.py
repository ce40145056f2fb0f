"""How far raters agree beyond chance: coefficients of agreement over arrays of ratings, with bootstrap intervals."""
