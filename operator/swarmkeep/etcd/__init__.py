"""A thin asyncio client of etcd v3 over the stubs of the etcd3 package."""
