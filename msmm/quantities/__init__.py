"""Counting rules: how many labels should an image get? NumPy only; nothing here knows runs or networks.

held_out = HeldOutPredictions(probabilities [n, C], raw [n], labels [n, C])  images that trained no weights
fitted = fit_counting_rules(held_out)                                       all rules, and the chosen one
fitted.apply(probabilities [N, C], raw [N], "best")                         Predictions: scores and counts
"""
