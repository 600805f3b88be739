module github.com/auditail/auditail

go 1.26
