"""Three gateways, two databases, a bucket, a load balancer and two upstreams, each on its own host.

The hosts are network namespaces with addresses, names and packets of their own. Faults befall them
under traffic; `python -m tests.faults_of_many` inflicts each and writes docs/faults-of-many.md.
"""
