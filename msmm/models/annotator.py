"""The complete model of Fig. 2: pixels and tags to label probabilities and label quantity."""

import keras
from keras import layers, ops

from msmm.models import backbone as backbones
from msmm.models import heads
from msmm.models.multi_scale import build_multi_scale
from msmm.models.textual import build_textual


def build_annotator(
    num_classes: int,
    num_tags: int,
    backbone: str = "resnet101",
    image_size: int = 224,
    weights: str | None = None,
    *,
    textual_units: int | None = None,
    mean_count: float = 0.0,
    preprocessing: str = "auto",
    backbone_taps: tuple[str, ...] = (),
    bn_momentum: float = 0.9997,
) -> keras.Model:
    """Builds the paper's complete network (Fig. 2) with fresh heads, ready for `compile` and `fit`.

    The multi-scale CNN gives f_v, the MLP of the tags f_t; the label classifier and the quantity regressor
    read [f_v, f_t]. With 81 classes and 1,000 tags on ResNet-101 it has 66,680,530 parameters.

    Args:
      num_classes: C.
      num_tags: T.
      backbone: a network of keras.applications in lower case, "resnet-D-D-D-D-wW", "keras_hub:PRESET" or the
        path of a saved `.keras` model; see `msmm.models.backbone.build`.
      image_size: side S of the square images, pixels.
      weights: of the backbone: "imagenet", a weights file, or None for random ones.
      textual_units: size of f_t; by default the size of f_v.
      mean_count: where the predicted quantity starts: the mean number of labels of the training images.
      preprocessing, backbone_taps, bn_momentum: see `msmm.models.backbone.build`.

    Returns:
      A functional model. Inputs: "image", RGB [B, S, S, 3] float32 in 0 … 255, and "tags", [B, T] float32 in
      {0, 1}. Outputs: "logits" [B, C], for `msmm.losses.sigmoid_cross_entropy` (eq. 4); "probabilities"
      [B, C]; "quantity" [B, 1], raw, for `msmm.losses.squared_error` (eq. 5); all float32.

    Example:
      >>> model = msmm.build_annotator(24, 1000, "resnet-1-1-1-1-w16", 64)
      >>> model.compile("adam", loss={"logits": msmm.losses.sigmoid_cross_entropy,
      ...                             "quantity": msmm.losses.squared_error})
      >>> model.fit({"image": images, "tags": tags}, {"logits": labels, "quantity": labels.sum(1)})
    """
    trunk = backbones.build(
        backbone,
        image_size=image_size,
        weights=weights or "none",
        taps=backbone_taps,
        preprocessing=preprocessing,
        bn_momentum=bn_momentum,
    )
    fusion = build_multi_scale([tuple(m.shape[1:]) for m in trunk.outputs], bn_momentum)
    mlp = build_textual(num_tags, textual_units or fusion.output_shape[1])
    image, tags = _inputs(trunk, mlp)
    joint = layers.Concatenate(name="joint")([fusion(trunk(image)), mlp(tags)])
    logits = heads.build_classifier(joint.shape[1], num_classes)(joint)
    outputs = {
        "logits": logits,
        "probabilities": layers.Activation("sigmoid", name="probabilities")(logits),
        "quantity": heads.build_quantity(joint.shape[1], mean_count)(joint),
    }
    return keras.Model({"image": image, "tags": tags}, outputs, name="annotator")


def assemble_annotator(
    backbone, multi_scale, textual, classifier, quantity, visual_head, quantity_visual
) -> keras.Model:
    """Builds the complete model from trained parts (Algorithm 2, lines 1-5).

    Images without any tag use the heads on f_v alone (decision 35). In the paper every image has tags, and
    the heads on f_v and f_t are poor if f_t is empty.

    Inputs: "image" RGB [B, S, S, 3] float32 in 0 … 255, "tags" [B, T] float32 in {0, 1}.
    Outputs: "probabilities" [B, C] float32, "quantity" [B, 1] float32, raw.
    """
    image, tags = _inputs(backbone, textual)
    f_v = multi_scale(backbone(image))
    f = layers.Concatenate(name="joint")([f_v, textual(tags)])
    tagged = ops.sum(tags, axis=1, keepdims=True) > 0
    logits = ops.where(tagged, classifier(f), visual_head(f_v))
    return keras.Model(
        {"image": image, "tags": tags},
        {
            "probabilities": layers.Activation("sigmoid", name="probabilities")(logits),
            "quantity": ops.where(tagged, quantity(f), quantity_visual(f_v)),
        },
        name="annotator",
    )


def _inputs(backbone: keras.Model, textual: keras.Model) -> tuple:
    image = keras.Input(backbone.input_shape[1:], name="image")
    return image, keras.Input(textual.input_shape[1:], name="tags")
