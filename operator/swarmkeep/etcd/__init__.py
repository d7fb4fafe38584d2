"""The only room that speaks etcd: client, leader election, and a twin in memory for tests."""
