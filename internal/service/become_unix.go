//go:build unix

package service

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// Become gives this process, which root has started, the account and the groups of
// the service, for good.
func (u Unit) Become() error {
	account, err := user.Lookup(u.User())
	if err != nil {
		return fmt.Errorf("find the account of the service: %w", err)
	}
	ids, err := account.GroupIds()
	if err != nil {
		return fmt.Errorf("find the groups of the service: %w", err)
	}
	for name := range strings.FieldsSeq(u.properties["SupplementaryGroups"]) {
		group, err := user.LookupGroup(name)
		if err != nil {
			return fmt.Errorf("find the groups of the service: %w", err)
		}
		ids = append(ids, group.Gid)
	}
	var numbers []int
	for _, id := range append(ids, account.Gid, account.Uid) {
		number, err := strconv.Atoi(id)
		if err != nil {
			return fmt.Errorf("find the account of the service: %w", err)
		}
		numbers = append(numbers, number)
	}
	groups, gid, uid := numbers[:len(ids)], numbers[len(ids)], numbers[len(ids)+1]
	// Root's rights go last.
	if err := errors.Join(syscall.Setgroups(groups), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return fmt.Errorf("become %s: %w", account.Username, err)
	}
	return nil
}
