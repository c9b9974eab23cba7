"""What a model looks at and where it fails: mistakes, saliency, embedding."""
