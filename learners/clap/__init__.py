"""CLAP: one vocabulary of actions for robots and for film of people (contrastive latent action pretraining)."""
