package s3test_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/auditail/auditail/internal/s3test"
)

// TestServerLocks: the server enforces what the tests of others rest on.
func TestServerLocks(t *testing.T) {
	server := s3test.Start(t, s3test.Options{TLS: true})
	server.MakeBucket(t, "evidence", true)
	agent := server.MakeUser(t, "agent1")
	server.SetPolicy(t, "evidence", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["agent1"]},`+
		`"Action":["s3:PutObject","s3:PutObjectRetention","s3:GetObject"],"Resource":["arn:aws:s3:::evidence/v1/*"]}]}`)
	client := server.Client(t, agent)
	put := func(key, content string) (*s3.PutObjectOutput, error) {
		return client.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String("evidence"), Key: &key, Body: strings.NewReader(content), IfNoneMatch: aws.String("*"),
			ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(time.Hour)),
			ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		})
	}
	stored, err := put("v1/one", "first")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = put("v1/one", "second"); err == nil || !strings.Contains(err.Error(), "PreconditionFailed") {
		t.Errorf("the second write under a name: %v", err)
	}
	if _, err = put("elsewhere", "x"); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("a write outside the user's prefix: %v", err)
	}
	for name, user := range map[string]s3test.Credentials{"agent": agent, "root": server.Root} {
		_, err = server.Client(t, user).DeleteObject(t.Context(), &s3.DeleteObjectInput{
			Bucket: aws.String("evidence"), Key: aws.String("v1/one"), VersionId: stored.VersionId,
		})
		if err == nil {
			t.Errorf("%s deleted a locked version", name)
		}
	}
	server.Stop()
	server.Restart(t)
	if files := server.Files(t, "evidence", "v1/"); string(files["one"]) != "first" || len(files) != 1 {
		t.Errorf("the bucket holds %q", files)
	}
}
