package service

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
)

// awaitReady waits until a service that was started says that it runs, and fails
// when it ends before. Starting it returns as soon as its process is there.
func awaitReady(name string) (err error) {
	manager, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return fmt.Errorf("reach the service manager: %w", err)
	}
	defer func() { err = errors.Join(err, windows.CloseServiceHandle(manager)) }()
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return err
	}
	handle, err := windows.OpenService(manager, path, windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return fmt.Errorf("reach the service: %w", err)
	}
	service := &mgr.Service{Name: name, Handle: handle}
	defer func() { err = errors.Join(err, service.Close()) }()
	for end := time.Now().Add(readyTime + 5*time.Second); ; time.Sleep(50 * time.Millisecond) {
		status, err := service.Query()
		switch {
		case err != nil:
			return fmt.Errorf("ask for its state: %w", err)
		case status.State == svc.Running:
			return nil
		case status.State == svc.Stopped:
			return fmt.Errorf("it ended at once, with exit code %d", status.Win32ExitCode)
		case time.Now().After(end):
			return errors.New("it does not get ready")
		}
	}
}
