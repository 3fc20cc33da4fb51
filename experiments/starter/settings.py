"""The settings of the starter model's trainings."""

# Beside configs/coco_photos.py: the trunk of the package is frozen, and the model is small.
SETTINGS = {
    "backbone": "photos",
    "backbone_taps": (),
    "finetune_trunk": False,
    "finetune_optimizer": "momentum",
    "finetune_ema": 0.0,
    "finetune_crop": 1.0,
    "finetune_sizes": (),
    "finetune_learning_rate": 0.01,  # a step; of a linear head, as on OpenClipart
    "finetune_epochs": 12,
    "logistic_l2_largest": 0.03,  # one λ: only the order of the nouns is wanted; best of 1, 0.3, 0.1 and 0.03
    "logistic_l2_smallest": 0.03,
    "textual_units": 512,
    "flip": False,  # the maps of mirrored photographs would double the disk space
}
