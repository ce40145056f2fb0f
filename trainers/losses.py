"""Losses of one example each, as pure functions. Batches add them up by weight: see `trainers.trainer`.

Shapes: E examples, K answers of one ranking, T tokens. sigma is the logistic function, r a reward, p a probability.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus


def bradley_terry(difference_E: Tensor, probability_E: Tensor, margin_E: Tensor | float = 0.0) -> Tensor:
    """Return ``-[p log sigma(x) + (1 - p) log sigma(-x)]``, ``[E]``, where x is the difference of two log-strengths.

    ``probability_E`` is a soft label: that the first is better; 0.5 is a tie. The cross-entropy of the label with the
    model of Bradley and Terry (1952). A ``margin`` is what the difference has to exceed: x is the difference less the
    margin for the first answer, and plus the margin for the second (Touvron et al. 2023, equation 2, for p = 1).
    """
    first, second = logsigmoid(difference_E - margin_E), logsigmoid(-difference_E - margin_E)
    return -(probability_E * first + (1 - probability_E) * second)


def plackett_luce(scores_K: Tensor, ranks_K: Tensor) -> Tensor:
    """Return the negative log-likelihood of a ranking of K answers, a number (Plackett 1975; Luce 1959).

    The best is chosen among all, the next among the rest, and so on: ``sum_i [log sum_j exp r_j - r_i]`` where j runs
    over the answers that are not ranked above i. Of equal ranks each is chosen among all that share it or are below
    (Breslow's rule for ties). With two answers and no tie it is `bradley_terry` with p = 1.
    """
    open_KK = ranks_K[None, :] >= ranks_K[:, None]
    among = scores_K[None, :].masked_fill(~open_KK, -torch.inf).logsumexp(-1)
    return (among - scores_K).sum()


def unary(score_E: Tensor, value_E: Tensor) -> Tensor:
    """Return ``-[v log sigma(r) + (1 - v) log sigma(-r)]``, ``[E]``: a reward by itself, for thumbs and ratings.

    ``value_E`` is 0 to 1. So a reward of 0 means "as often good as not", and rewards of rated answers have a level.
    """
    return softplus(score_E) - value_E * score_E


def dpo(log_ratio_E: Tensor, probability_E: Tensor, beta: float) -> Tensor:
    """Return the expected sigmoid loss of direct preference optimisation, ``[E]`` (Rafailov et al. 2023, equation 7).

    ``log_ratio_E`` is (log pi - log pi_ref) of the chosen answer less that of the rejected one; with a soft label p it
    is `bradley_terry` of beta times that.
    """
    return bradley_terry(beta * log_ratio_E, probability_E)


def ipo(log_ratio_E: Tensor, probability_E: Tensor, beta: float) -> Tensor:
    """Return the loss of identity preference optimisation, ``[E]`` (Azar et al. 2023, equation 17; beta is its tau).

    ``(h - 1/(2 beta))^2``, and for the label's other part ``(h + 1/(2 beta))^2``; h is ``log_ratio_E``.
    """
    target = 1 / (2 * beta)
    return probability_E * (log_ratio_E - target) ** 2 + (1 - probability_E) * (log_ratio_E + target) ** 2


def kto(log_ratio_E: Tensor, value_E: Tensor, reference: Tensor, beta: float) -> Tensor:
    """Return the loss of Kahneman-Tversky optimisation, ``[E]`` (Ethayarajh et al. 2024, equation 8).

    ``log_ratio_E`` is log pi - log pi_ref of an answer; ``reference`` is z_0, an estimate of KL(pi, pi_ref), and takes
    no gradient. A desirable answer (``value_E`` 1) costs ``1 - sigma(beta (h - z_0))``, an undesirable one (0)
    ``1 - sigma(beta (z_0 - h))``; between them the expectation.
    """
    gain = torch.sigmoid(beta * (log_ratio_E - reference.detach()))
    return value_E * (1 - gain) + (1 - value_E) * gain


def log_odds(mean_logp_E: Tensor) -> Tensor:
    """Return the log-odds of answers whose probability is the geometric mean of their tokens': ``[E]``.

    ``log p - log(1 - p)``, with log(1 - p) as log(-expm1(log p)), which keeps its digits near p = 1.
    """
    return mean_logp_E - torch.log(-torch.expm1(mean_logp_E.clamp(max=-1e-6)))


def orpo(mean_logp_E2: Tensor, probability_E: Tensor, beta: float) -> Tensor:
    """Return the loss of odds ratio preference optimisation, ``[E]`` (Hong et al. 2024, equations 6 and 7).

    ``L_SFT + beta L_OR``: the negative log-probability per token of the chosen answer, and `bradley_terry` of the
    difference of both answers' `log_odds`. With a soft label both parts are expectations: of an answer that is better
    with probability p so much is imitated, and of a tie as much of both.
    """
    chosen_E, rejected_E = mean_logp_E2.unbind(-1)
    imitation_E = -(probability_E * chosen_E + (1 - probability_E) * rejected_E)
    return imitation_E + beta * bradley_terry(log_odds(chosen_E) - log_odds(rejected_E), probability_E)
