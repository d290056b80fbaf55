// Command mutate checks tests by changing the code that they test: it makes one small
// change after the other (a mutant: < becomes <=, a condition is negated, a statement is
// left out), runs the package's tests against each, and counts the mutants that a test notices (killed) and those that
// no test notices (survived).
//
//	go run ./tools/mutate internal/session internal/store/resolve.go
//
// Arguments are folders of packages, or single files. Of each folder a random sample is
// taken, the same for the same -seed. The files themselves stay as they are: the compiler
// reads the mutants by its -overlay.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	var r run
	flag.StringVar(&r.root, "C", ".", "`folder` of the module, of an older commit for instance")
	flag.IntVar(&r.sample, "n", 40, "how many `mutants` of each folder are tried")
	flag.Uint64Var(&r.seed, "seed", 1, "chooses the sample")
	flag.DurationVar(&r.limit, "time", 10*time.Minute, "how long one folder may take")
	flag.IntVar(&r.workers, "p", 2, "how many are tested at a time")
	tests := flag.String("tests", "", "further `packages`, such as ./internal/app, by comma, whose tests count too")
	flag.Parse()
	if *tests != "" {
		r.tests = strings.Split(*tests, ",")
	}
	if err := r.testAll(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

type run struct {
	root    string
	sample  int
	seed    uint64
	limit   time.Duration
	workers int
	tests   []string
}

// testAll tests the mutants of each folder. It prints a line for each folder, and for each mutant that survived.
func (r *run) testAll(args []string) error {
	folders, files, err := r.files(args)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := r.folder(folder, files[folder]); err != nil {
			return fmt.Errorf("%s: %w", folder, err)
		}
	}
	return nil
}

// files returns the folders that the arguments name, in order, and for each folder the files to change.
func (r *run) files(args []string) (folders []string, files map[string][]string, err error) {
	if len(args) == 0 {
		return nil, nil, errors.New("want folders or files to change, such as internal/session")
	}
	files = make(map[string][]string)
	for _, arg := range args {
		folder, found := filepath.Clean(arg), []string{filepath.Clean(arg)}
		if strings.HasSuffix(arg, ".go") {
			folder = filepath.Dir(folder)
			if _, err := os.Stat(filepath.Join(r.root, found[0])); err != nil {
				return nil, nil, err
			}
		} else {
			paths, err := filepath.Glob(filepath.Join(r.root, folder, "*.go"))
			if err != nil {
				return nil, nil, err
			}
			found = nil
			for _, path := range paths {
				if name := filepath.Base(path); !strings.HasSuffix(name, "_test.go") && name != "doc.go" {
					found = append(found, filepath.Join(folder, name))
				}
			}
			if found == nil {
				return nil, nil, fmt.Errorf("%s has no Go files", arg)
			}
		}
		if !slices.Contains(folders, folder) {
			folders = append(folders, folder)
		}
		files[folder] = append(files[folder], found...)
	}
	return folders, files, nil
}

// folder tests a random sample of the mutants of a folder's files.
func (r *run) folder(folder string, files []string) error {
	var mutants []mutant
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(r.root, file))
		if err != nil {
			return err
		}
		found, err := mutantsOf(file, text)
		if err != nil {
			return err
		}
		mutants = append(mutants, found...)
	}
	random := rand.New(rand.NewPCG(r.seed, 0)) //nolint:gosec // the same sample each time is meant
	random.Shuffle(len(mutants), func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })

	packages := append([]string{"./" + filepath.ToSlash(folder)}, r.tests...)
	began := time.Now()
	for _, one := range packages {
		if output, err := r.test(context.Background(), "", time.Hour, one); err != nil {
			return fmt.Errorf("tests fail without any change: %w\n%s", err, output)
		}
	}
	patience := 3*time.Since(began) + 20*time.Second // if the tests of a mutant take longer, the mutant has an endless loop

	ctx, cancel := context.WithTimeout(context.Background(), r.limit)
	defer cancel()
	var (
		mu               sync.Mutex // guards the variables below
		killed, survived int
		next             int
		group            sync.WaitGroup
	)
	take := func() (m mutant, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == len(mutants) || killed+survived >= r.sample || ctx.Err() != nil {
			return m, false
		}
		next++
		return mutants[next-1], true
	}
	for range r.workers {
		group.Go(func() {
			for m, ok := take(); ok; m, ok = take() {
				result := r.try(ctx, &m, patience, packages)
				mu.Lock()
				switch result {
				case noticed:
					killed++
				case unnoticed:
					survived++
					fmt.Printf("survived  %s\n", m)
				case invalid:
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	note := ""
	if ctx.Err() != nil {
		note = ", out of time"
	}
	fmt.Printf("%s: %d killed, %d survived, %.0f%% of %d tried (of %d there are)%s\n",
		folder, killed, survived, 100*float64(killed)/float64(max(1, killed+survived)), killed+survived, len(mutants), note)
	return nil
}

type outcome int

const (
	noticed   outcome = iota // a test failed
	unnoticed                // all tests passed
	invalid                  // the change does not compile, or the tests took too long
)

// try runs the tests with one mutant.
func (r *run) try(ctx context.Context, m *mutant, patience time.Duration, packages []string) outcome {
	folder, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return invalid
	}
	defer os.RemoveAll(folder)
	original, err := filepath.Abs(filepath.Join(r.root, m.file))
	if err != nil {
		return invalid
	}
	changed, overlay := filepath.Join(folder, "mutant.go"), filepath.Join(folder, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return invalid
	}
	if err := errors.Join(os.WriteFile(changed, m.text(), 0o600), os.WriteFile(overlay, text, 0o600)); err != nil {
		return invalid
	}
	for _, one := range packages { // the tests of the folder come first, since they notice most mutants
		output, err := r.test(ctx, overlay, patience, one)
		switch {
		case ctx.Err() != nil, bytes.Contains(output, []byte("[build failed]")), bytes.Contains(output, []byte("[setup failed]")):
			return invalid
		case err != nil:
			return noticed
		}
	}
	return unnoticed
}

// test runs the tests of a package. Unless `overlay` is empty, it names a file for go test -overlay.
func (r *run) test(ctx context.Context, overlay string, patience time.Duration, tested string) ([]byte, error) {
	c := exec.CommandContext(ctx, "go", "test", "-vet=off", "-failfast", "-count=1", "-timeout="+patience.String(), "-overlay="+overlay, tested) //nolint:gosec // the developer's own
	c.Dir = r.root
	return c.CombinedOutput()
}
