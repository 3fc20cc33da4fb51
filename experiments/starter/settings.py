"""The settings of the starter model's trainings."""

# Beside configs/coco_photos_frozen.py: the trunk is the package's, and the model is small.
SETTINGS = {
    "backbone": "photos",
    "backbone_taps": (),
    "logistic_l2_largest": 0.03,  # one λ: only the order of the nouns is wanted; best of 1, 0.3, 0.1 and 0.03
    "logistic_l2_smallest": 0.03,
    "textual_units": 512,
    "textual_learning_rate": 0.1,  # as the model of the package was trained
}
