from torch_sake.evaluation.evaluate import evaluate

__all__ = ['evaluate']
