"""How much faster a study is on two processes than on one."""
