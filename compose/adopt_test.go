package compose

import (
	"encoding/json"
	"testing"

	"github.com/wiretape/wiretape/compose/session"
)

func TestContainersAreBornInTheSession(t *testing.T) {
	p := &apiProxy{project: "shop", adopt: func(service string) (string, map[string]string) {
		if service == "db" {
			return "/wiretape-1/s0", map[string]string{session.LabelSession: "1"}
		}
		return "", nil
	}}
	for _, test := range []struct{ name, body, parent, session string }{
		{"a container of pre_start", `{"Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"db","com.docker.compose.hook":"pre_start"},"HostConfig":{"CgroupParent":"","Memory":9007199254740993}}`, "/wiretape-1/s0", "1"},
		{"one that has another cgroup", `{"Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"db"},"HostConfig":{"CgroupParent":"/own","Memory":9007199254740993}}`, "/wiretape-1/s0", "1"},
		{"one that is in it already", `{"Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"db"},"HostConfig":{"CgroupParent":"/wiretape-1/s0","Memory":9007199254740993}}`, "/wiretape-1/s0", ""},
		{"one of another project", `{"Labels":{"com.docker.compose.project":"other","com.docker.compose.service":"db"},"HostConfig":{"CgroupParent":"","Memory":9007199254740993}}`, "", ""},
		{"one that is left alone", `{"Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"web"},"HostConfig":{"CgroupParent":"","Memory":9007199254740993}}`, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			body, err := p.adopted([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Labels     map[string]string
				HostConfig struct {
					CgroupParent string
					Memory       json.Number
				}
			}
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatal(err)
			}
			if got.HostConfig.CgroupParent != test.parent || got.Labels[session.LabelSession] != test.session || got.HostConfig.Memory != "9007199254740993" {
				t.Errorf("got %s", body)
			}
		})
	}
}

func TestContainersOfHooksAreNoReplicas(t *testing.T) {
	for _, labels := range []map[string]string{
		{composeService: "db", composeHook: "pre_start"}, {composeService: "db", composeOneOff: "True"}, {},
	} {
		if isReplica(labels) {
			t.Errorf("%v is one", labels)
		}
	}
	if !isReplica(map[string]string{composeService: "db", composeOneOff: "False"}) {
		t.Error("a service's own container is none")
	}
}
