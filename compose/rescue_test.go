package compose

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// helperTapeEnv names the folder that a helper records to.
const helperTapeEnv = "WIRETAPE_TEST_HELPER_TAPE"

// helperApartEnv is set where the helper's agent does not have the tape's folder.
const helperApartEnv = "WIRETAPE_TEST_HELPER_APART"

// WIRETAPE_TEST_KILLS sets how many sessions are killed; one by default.
func TestWhatTheAppHasHeardIsOnTheTapeWhenTheCLIIsKilled(t *testing.T) {
	for range killRounds() {
		for _, apart := range []string{"", "yes"} {
			t.Setenv(helperApartEnv, apart)
			p := newTestProject(t, webYAML)
			dir := filepath.Join(p.dir, "tapes", "default")
			heard := p.killWhileRecording(dir)
			wantOnTape(t, dir+".new", heard)
		}
	}
}

func killRounds() int {
	n, _ := strconv.Atoi(os.Getenv("WIRETAPE_TEST_KILLS"))
	return max(n, 1)
}

// killWhileRecording kills a CLI that records to a tape while the app is busy, and
// undoes the session. It returns which calls of the app were answered to their end.
func (p *testProject) killWhileRecording(to string) (heard []string) {
	t := p.t
	t.Helper()
	before := p.inventory()
	cmd := exec.Command(os.Args[0], p.name, filepath.Join(p.dir, "compose.yaml"), filepath.Join(testDir(), "agent"), filepath.Join(testDir(), "ca"), "")
	cmd.Env = append(os.Environ(), helperEnv+"=record", helperTapeEnv+"="+to)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	words := strings.Fields(line)
	if err != nil || len(words) < 2 {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("the helper said %q and %v", line, err)
	}
	heard = askUntil(words[1], func() {
		time.Sleep(time.Duration(300+rand.IntN(700)) * time.Millisecond)
		cmd.Process.Kill()
	})
	cmd.Wait()
	if _, err := Down(context.Background(), p.options()); err != nil {
		t.Fatal(err)
	}
	p.wantAsBefore(before, words[0])
	return heard
}

// wantOnTape checks that the tape of a killed session has what the app has heard.
func wantOnTape(t *testing.T, dir string, heard []string) {
	t.Helper()
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if tp.Manifest.Complete {
		t.Error("the recording of a killed session is said to be complete")
	}
	ended := make(map[string]bool)
	for _, x := range tp.Calls {
		s, err := tp.Stream(x)
		if err != nil {
			t.Fatal(err)
		}
		for l, err := range s.Lines() {
			if err != nil {
				t.Errorf("%s: %v", x.File, err)
			} else if l.End != nil {
				ended[x.Request.URL] = l.End.How == httpstream.EOF
			}
		}
		s.Close()
	}
	for _, u := range heard {
		if !ended[u] {
			t.Errorf("%s was answered, and is not on the tape", u)
		}
	}
	t.Logf("%d answers were heard before the kill, and %d calls are on the tape", len(heard), len(tp.Calls))
}

// askUntil has clients ask the app until kill returns and they fail, and returns
// which calls of the app were answered to their end.
func askUntil(published string, kill func()) []string {
	var mu sync.Mutex
	var heard []string
	var wg sync.WaitGroup
	stop := make(chan struct{})
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for c := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				from := fmt.Sprintf("http://api.example.com/%d/%d?n=1", c, i)
				resp, err := client.Get("http://" + published + "/?url=" + url.QueryEscape(from))
				if err != nil {
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || len(body) == 0 {
					return
				}
				mu.Lock()
				heard = append(heard, from)
				mu.Unlock()
			}
		})
	}
	kill()
	close(stop)
	wg.Wait()
	return heard
}
