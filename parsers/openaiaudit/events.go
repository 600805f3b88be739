package openaiaudit

import "bytes"

// events holds the types of OpenAI's reference that are more than a change of the
// organization's configuration. "tenant." in front of a type says that it happened
// above the organization and changes nothing else, so it is left out here.
var events = map[string]string{
	"login.succeeded":  "auth.success",
	"login.failed":     "auth.failure",
	"logout.succeeded": "auth.logout",
	"logout.failed":    "auth.logout",

	"workload_identity.access_token.issued": "auth.success",

	"api_key.created":         "auth.key",
	"api_key.updated":         "auth.key",
	"api_key.deleted":         "auth.key",
	"admin_api_key.created":   "auth.key",
	"admin_api_key.updated":   "auth.key",
	"admin_api_key.deleted":   "auth.key",
	"project_api_key.created": "auth.key",

	"chatgpt_access_token.revoked":  "auth.revoke",
	"service_account.token.revoked": "auth.revoke",
	"session_revocation.started":    "auth.revoke",

	"role.assignment.created":          "auth.elevate",
	"role_assignment.created":          "auth.elevate",
	"resource_role_assignment.created": "auth.elevate",
	"role.bound_to_resource":           "auth.elevate",
	"checkpoint.permission.created":    "auth.elevate",
	"role.assignment.deleted":          "auth.revoke",
	"role_assignment.deleted":          "auth.revoke",
	"resource_role_assignment.deleted": "auth.revoke",
	"resource_access.deleted":          "auth.revoke",
	"role.unbound_from_resource":       "auth.revoke",
	"checkpoint.permission.deleted":    "auth.revoke",

	"resource_share_grant.created":  "data.share",
	"resource_share_grant.updated":  "data.share",
	"resource_share_grant.accepted": "data.share",
	"resource_share_grant.declined": "auth.revoke",
	"resource_share_grant.revoked":  "auth.revoke",
	"resource_share_grant.deleted":  "auth.revoke",

	"resource.deleted": "data.delete",

	"user.looked_up": "data.access",
	"principal_authentication_policy.resolved": "data.access",
}

// people are what stands before the last dot of types about users, roles and
// projects.
var people = map[string]bool{
	"user": true, "service_account": true, "group": true, "group.member": true, "role": true, "role.metadata": true, "custom_role": true,
	"project": true, "invite": true, "membership": true, "api_organization_invite": true, "chatgpt_workspace_invite": true,
	"workload_identity.principal": true,
}

// eventOf names the event of a type; of one that is not in the reference yet, too.
func eventOf(kind []byte) string {
	kind = bytes.TrimPrefix(kind, []byte("tenant."))
	if event, ok := events[string(kind)]; ok {
		return event
	}
	if at := bytes.LastIndexByte(kind, '.'); at > 0 && people[string(kind[:at])] {
		return "admin.user"
	}
	return "admin.config"
}
