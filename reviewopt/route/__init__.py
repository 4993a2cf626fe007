"""Which rung of the ladder a question enters, and how sure an answer must be to stay there. Pure.

Stands between the cache and the requests of a run with several models, ordered from cheap to dear. Every rung answers
one sample first. From that `decide` makes the policy; while the run goes on, `replan` mends it for the adaptive
strategy. Nothing here certifies anything: the thresholds are estimates, and `threshold` says how good they are.

`strategies` is what each strategy means, `staying` the statistics of one rung, `policies` puts them together.
"""

from reviewopt.route.policies import Decision, Policy, Rung, decide, replan
from reviewopt.route.staying import Threshold, accepts, threshold
from reviewopt.route.strategies import LEVELS, STRATEGIES, Entry, Rules, levels

__all__ = [
    "LEVELS",
    "STRATEGIES",
    "Decision",
    "Entry",
    "Policy",
    "Rules",
    "Rung",
    "Threshold",
    "accepts",
    "decide",
    "levels",
    "replan",
    "threshold",
]
