"""What the end-to-end tests are made of: the agent under test, brokers, proxies, certificates and scripted peers."""
