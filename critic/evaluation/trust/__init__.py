"""What a judge's report and certificate are made of: people's comparisons, the judge's answers, their figures."""
