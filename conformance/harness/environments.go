package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// fetchLimit bounds one package manager's run.
const fetchLimit = 10 * time.Minute

// Jars resolves a pom's dependencies and returns the folder that holds them.
func Jars(pom string) (string, error) {
	text, err := os.ReadFile(pom)
	if err != nil {
		return "", err
	}
	return prepare("jars", []string{string(text)}, func(dir string) error {
		ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
		defer cancel()
		return run(ctx, filepath.Dir(pom), "mvn", "-q", "-B", "-f", pom,
			"dependency:copy-dependencies", "-DoutputDirectory="+dir)
	})
}

// JavaClasses compiles Java sources against jars and returns the class path to
// run them with. extra files (beside the sources) land on the class path too.
func JavaClasses(jars string, extra map[string]string, sources ...string) (string, error) {
	inputs := []string{jars}
	for _, s := range sources {
		text, err := os.ReadFile(s)
		if err != nil {
			return "", err
		}
		inputs = append(inputs, s, string(text))
	}
	for name, text := range extra {
		inputs = append(inputs, name, text)
	}
	classes, err := prepare("classes", inputs, func(dir string) error {
		ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
		defer cancel()
		for name, text := range extra {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				return err
			}
		}
		args := append([]string{"-nowarn", "-proc:none", "-cp", filepath.Join(jars, "*"), "-d", dir}, sources...)
		return run(ctx, dir, "javac", args...)
	})
	return classes + string(os.PathListSeparator) + filepath.Join(jars, "*"), err
}

// Python makes a virtual environment with a requirements file's packages and
// returns its interpreter.
func Python(requirements string) (string, error) {
	text, err := os.ReadFile(requirements)
	if err != nil {
		return "", err
	}
	dir, err := prepare("python", []string{string(text)}, func(dir string) error {
		ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
		defer cancel()
		if err := run(ctx, dir, "python3", "-m", "venv", dir); err != nil {
			return err
		}
		return run(ctx, dir, filepath.Join(dir, "bin", "python"), "-m", "pip", "install", "-q",
			"--disable-pip-version-check", "-r", requirements)
	})
	return filepath.Join(dir, "bin", "python"), err
}

// Node installs a folder's locked npm packages and returns the folder that
// holds node_modules: programs copied or linked there find them.
func Node(folder string) (string, error) {
	pkg, err := os.ReadFile(filepath.Join(folder, "package.json"))
	if err != nil {
		return "", err
	}
	lock, err := os.ReadFile(filepath.Join(folder, "package-lock.json"))
	if err != nil {
		return "", err
	}
	return prepare("node", []string{string(pkg), string(lock)}, func(dir string) error {
		for name, text := range map[string][]byte{"package.json": pkg, "package-lock.json": lock} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
		defer cancel()
		return run(ctx, dir, "npm", "ci", "--silent", "--no-audit", "--no-fund")
	})
}

// Debian finds a program, or installs the Debian package that brings it.
func Debian(program, pkg string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	parent, err := Cache("apt")
	if err != nil {
		return "", err
	}
	unlock, err := lockFile(filepath.Join(parent, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if path, err := exec.LookPath(program); err == nil {
		return path, nil // another test installed it while this one waited
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
	defer cancel()
	install := []string{"apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=60", "install", "--no-install-recommends", pkg}
	if os.Geteuid() != 0 {
		install = append([]string{"sudo", "-n"}, install...)
	}
	if err := run(ctx, "", install[0], install[1:]...); err != nil {
		update := []string{"apt-get", "-qq", "update"}
		if os.Geteuid() != 0 {
			update = append([]string{"sudo", "-n"}, update...)
		}
		if err := run(ctx, "", update[0], update[1:]...); err != nil {
			return "", fmt.Errorf("%w: %s: %w", ErrUnavailable, pkg, err)
		}
		if err := run(ctx, "", install[0], install[1:]...); err != nil {
			return "", fmt.Errorf("%w: %s: %w", ErrUnavailable, pkg, err)
		}
	}
	return exec.LookPath(program)
}
