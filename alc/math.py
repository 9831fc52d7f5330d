"""Mathematics: statistics of samples, random generators that can be kept as JSON, distributions, tests."""

from algocline_mcp.worker.engine.python.api.math.data import autocorrelation as autocorrelation
from algocline_mcp.worker.engine.python.api.math.data import correlation as correlation
from algocline_mcp.worker.engine.python.api.math.data import covariance as covariance
from algocline_mcp.worker.engine.python.api.math.data import cross_entropy as cross_entropy
from algocline_mcp.worker.engine.python.api.math.data import entropy as entropy
from algocline_mcp.worker.engine.python.api.math.data import ewma as ewma
from algocline_mcp.worker.engine.python.api.math.data import histogram as histogram
from algocline_mcp.worker.engine.python.api.math.data import iqr as iqr
from algocline_mcp.worker.engine.python.api.math.data import js_divergence as js_divergence
from algocline_mcp.worker.engine.python.api.math.data import kendall_tau as kendall_tau
from algocline_mcp.worker.engine.python.api.math.data import kl_divergence as kl_divergence
from algocline_mcp.worker.engine.python.api.math.data import log_normalize as log_normalize
from algocline_mcp.worker.engine.python.api.math.data import mean as mean
from algocline_mcp.worker.engine.python.api.math.data import median as median
from algocline_mcp.worker.engine.python.api.math.data import moving_average as moving_average
from algocline_mcp.worker.engine.python.api.math.data import mrr as mrr
from algocline_mcp.worker.engine.python.api.math.data import ndcg as ndcg
from algocline_mcp.worker.engine.python.api.math.data import percentile as percentile
from algocline_mcp.worker.engine.python.api.math.data import permutations as permutations
from algocline_mcp.worker.engine.python.api.math.data import rank as rank
from algocline_mcp.worker.engine.python.api.math.data import softmax as softmax
from algocline_mcp.worker.engine.python.api.math.data import spearman_correlation as spearman_correlation
from algocline_mcp.worker.engine.python.api.math.data import stddev as stddev
from algocline_mcp.worker.engine.python.api.math.data import variance as variance
from algocline_mcp.worker.engine.python.api.math.data import wilson_ci as wilson_ci
from algocline_mcp.worker.engine.python.api.math.generators import Rng as Rng
from algocline_mcp.worker.engine.python.api.math.generators import beta_sample as beta_sample
from algocline_mcp.worker.engine.python.api.math.generators import binomial_sample as binomial_sample
from algocline_mcp.worker.engine.python.api.math.generators import categorical_sample as categorical_sample
from algocline_mcp.worker.engine.python.api.math.generators import chi_squared_sample as chi_squared_sample
from algocline_mcp.worker.engine.python.api.math.generators import dirichlet_sample as dirichlet_sample
from algocline_mcp.worker.engine.python.api.math.generators import exp_sample as exp_sample
from algocline_mcp.worker.engine.python.api.math.generators import gamma_sample as gamma_sample
from algocline_mcp.worker.engine.python.api.math.generators import lognormal_sample as lognormal_sample
from algocline_mcp.worker.engine.python.api.math.generators import normal_sample as normal_sample
from algocline_mcp.worker.engine.python.api.math.generators import poisson_sample as poisson_sample
from algocline_mcp.worker.engine.python.api.math.generators import rng_create as rng_create
from algocline_mcp.worker.engine.python.api.math.generators import rng_float as rng_float
from algocline_mcp.worker.engine.python.api.math.generators import rng_int as rng_int
from algocline_mcp.worker.engine.python.api.math.generators import sample_with_replacement as sample_with_replacement
from algocline_mcp.worker.engine.python.api.math.generators import shuffle as shuffle
from algocline_mcp.worker.engine.python.api.math.generators import student_t_sample as student_t_sample
from algocline_mcp.worker.engine.python.api.math.generators import uniform_sample as uniform_sample
from algocline_mcp.worker.engine.python.api.math.hypotheses import chi_squared_test as chi_squared_test
from algocline_mcp.worker.engine.python.api.math.hypotheses import ks_test as ks_test
from algocline_mcp.worker.engine.python.api.math.hypotheses import mann_whitney_u as mann_whitney_u
from algocline_mcp.worker.engine.python.api.math.hypotheses import welch_t_test as welch_t_test
from algocline_mcp.worker.engine.python.api.math.special import beta as beta
from algocline_mcp.worker.engine.python.api.math.special import beta_cdf as beta_cdf
from algocline_mcp.worker.engine.python.api.math.special import beta_mean as beta_mean
from algocline_mcp.worker.engine.python.api.math.special import beta_ppf as beta_ppf
from algocline_mcp.worker.engine.python.api.math.special import beta_variance as beta_variance
from algocline_mcp.worker.engine.python.api.math.special import digamma as digamma
from algocline_mcp.worker.engine.python.api.math.special import erf as erf
from algocline_mcp.worker.engine.python.api.math.special import erfc as erfc
from algocline_mcp.worker.engine.python.api.math.special import expit as expit
from algocline_mcp.worker.engine.python.api.math.special import factorial as factorial
from algocline_mcp.worker.engine.python.api.math.special import gamma_cdf as gamma_cdf
from algocline_mcp.worker.engine.python.api.math.special import lgamma as lgamma
from algocline_mcp.worker.engine.python.api.math.special import ln_beta as ln_beta
from algocline_mcp.worker.engine.python.api.math.special import ln_factorial as ln_factorial
from algocline_mcp.worker.engine.python.api.math.special import logit as logit
from algocline_mcp.worker.engine.python.api.math.special import logsumexp as logsumexp
from algocline_mcp.worker.engine.python.api.math.special import normal_cdf as normal_cdf
from algocline_mcp.worker.engine.python.api.math.special import normal_inverse_cdf as normal_inverse_cdf
from algocline_mcp.worker.engine.python.api.math.special import normal_ppf as normal_ppf
from algocline_mcp.worker.engine.python.api.math.special import poisson_cdf as poisson_cdf
from algocline_mcp.worker.engine.python.api.math.special import (
    regularized_incomplete_beta as regularized_incomplete_beta,
)
from algocline_mcp.worker.engine.python.api.math.special import (
    regularized_incomplete_gamma as regularized_incomplete_gamma,
)
