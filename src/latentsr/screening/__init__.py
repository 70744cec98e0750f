"""Screening: which autoencoder to build on, before any diffusion model is trained.

`make_plan` checks what is asked, `screen` measures it, batch by batch, and writes tables, pictures and screening.json.
"""

from latentsr.screening.candidates import Candidate, parse_candidates
from latentsr.screening.job import screen
from latentsr.screening.plan import Plan, Screening, make_plan

__all__ = ["Candidate", "Plan", "Screening", "make_plan", "parse_candidates", "screen"]
