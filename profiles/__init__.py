"""Device profiles, installed as mnasnet_deploy.profiles."""
