"""The eight methods that the paper compares itself with (Tables III and IV), one room each.

A room holds a method, and nothing else: its network, its loss, how it decodes. `method.Method` says
what it gets and gives; training loop, data, features and metrics are those of the paper's own model.
`sequences` is what the recurrent ones share.
"""
