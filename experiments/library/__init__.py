"""A person's photo library, made from photographs of MSCOCO: plan, files, and figures of models on it."""
