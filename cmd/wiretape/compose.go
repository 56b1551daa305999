package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/compose/agent"
)

func composeCommand(io streams) *cli.Command {
	return &cli.Command{
		Name:  "compose",
		Usage: "record and test a docker compose project",
		Subcommands: []*cli.Command{
			{
				Name: "record", Usage: "bring the project up and record what it hears",
				UsageText: "wiretape compose record [flags] [-- COMMAND...]",
				Description: `   What the services ask of the outside world is recorded as calls, and what
   clients ask them at their published ports as cases. COMMAND runs on this host
   once the services are ready, and the recording ends with it; without one, it
   goes on until Ctrl-C. A plain "docker compose exec" in COMMAND means this
   session's project.

   example: wiretape compose record -- ./scripts/chat.sh`,
				Flags: flags(projectFlags(), recordFlags(), sessionFlags()),
				Action: func(c *cli.Context) error {
					opt := recordOptionsOf(c)
					if err := runRecord(c.Context, opt, io); err != nil || !opt.check {
						return err
					}
					return checkRecording(c.Context, checkOf(opt), io)
				},
			},
			{
				Name: "test", Usage: "bring the project up offline against a tape, and test it",
				UsageText: "wiretape compose test [flags] [-- COMMAND...]",
				Description: `   The services get the recorded answers, with the original timing, and can't
   reach the outside. Every recorded case is sent again, and what the app
   answers is compared while it streams. With COMMAND, that runs in the place of
   the cases; give --case as well to have both, the cases first. The test fails
   if an answer or its timing is not as recorded, if COMMAND fails, or if a
   service asks for what was not recorded.

   example: wiretape compose test --case '*-post-chat' --report report
   example: wiretape compose test -- ./scripts/chat.sh`,
				Flags:  flags(projectFlags(), testFlags(), sessionFlags()),
				Action: func(c *cli.Context) error { return runTest(c.Context, testOptionsOf(c), io) },
			},
			{
				Name: "check", Usage: "play a tape, and write noise rules for what changes",
				UsageText: "wiretape compose check [flags]",
				Description: `   Brings the project up against the tape, plays every case twice, and again
   where the app asks differently each time. Values that look like ids and times
   are shown and become noise rules in wiretape.yaml; others are only shown,
   since they may be defects.

   example: wiretape compose check --tape tapes/chat`,
				Flags: flags(projectFlags(), checkFlags(), sessionFlags()),
				Action: func(c *cli.Context) error {
					opt, err := checkOptionsOf(c)
					if err != nil {
						return err
					}
					return runCheck(c.Context, opt, io)
				},
			},
			{
				Name: "replay", Usage: "keep the project up against a tape until Ctrl-C",
				UsageText:   "wiretape compose replay [flags]",
				Description: "   For development. Identical calls start over when all recorded ones were\n   answered.",
				Flags:       flags(projectFlags(), replayFlags(), sessionFlags()),
				Action: func(c *cli.Context) error {
					opt, err := replayOptionsOf(c)
					if err != nil {
						return err
					}
					return runReplay(c.Context, opt, io)
				},
			},
			{
				Name: "down", Usage: "clean up what a killed session left",
				UsageText: "wiretape compose down [flags]",
				Flags:     flags(projectFlags(), sessionFlags()),
				Action: func(c *cli.Context) error {
					opt, err := downOptionsOf(c)
					if err != nil {
						return err
					}
					return runDown(c.Context, opt, io)
				},
			},
		},
	}
}

func flags(sets ...[]cli.Flag) []cli.Flag {
	var all []cli.Flag
	for _, s := range sets {
		all = append(all, s...)
	}
	return all
}

func projectFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "file", Aliases: []string{"f"}, Usage: "compose `FILE` (may be given several times)"},
		&cli.StringFlag{Name: "project-name", Aliases: []string{"p"}, Usage: "project `NAME`"},
		&cli.StringSliceFlag{Name: "profile", Usage: "`PROFILE` to enable (may be given several times)"},
		&cli.StringSliceFlag{Name: "env-file", Usage: "environment `FILE` (may be given several times)"},
		&cli.StringFlag{Name: "project-directory", Usage: "the project's `DIR`, if it isn't the compose file's"},
	}
}

func recordFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "tape", Usage: "`DIR` to record to, or volume:NAME for a volume of the engine (default: tapes/default beside the compose file)"},
		&cli.StringSliceFlag{Name: "service", Usage: "record only `SERVICE` (may be given several times)"},
		&cli.StringSliceFlag{Name: "host", Usage: "record only hosts that match `PATTERN`, such as api.openai.com or '*.example.com:8443' (may be given several times)"},
		upstreamCAFlag(),
		&cli.BoolFlag{Name: "check", Usage: "play the new tape twice, and write noise rules for what changes by itself into wiretape.yaml"},
		&cli.BoolFlag{Name: "keep-encoding", Usage: "let servers compress, and record the compressed bytes"},
	}
}

func replayFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "tape", Usage: "`DIR` of the tape, or volume:NAME (default: tapes/default beside the compose file)"},
		&cli.Float64Flag{Name: "speed", Usage: "play `X` times as fast as recorded; 0 means without any wait", Value: 1},
		onMissFlag(),
		upstreamCAFlag(),
		keepNetworksFlag(),
	}
}

func checkFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "tape", Usage: "`DIR` of the tape, or volume:NAME (default: tapes/default beside the compose file)"},
	}
}

func onMissFlag() cli.Flag {
	return &cli.StringFlag{Name: "on-miss", Usage: "what becomes of a call that the tape does not answer: `WHAT` is fail, passthrough (it goes to the real service) or record (so it does, and is added to the tape)", Value: string(agent.Fail)}
}

func upstreamCAFlag() cli.Flag {
	return &cli.StringFlag{Name: "upstream-ca", Usage: "`FILE` of PEM certificates to trust upstream, beside the services' own"}
}

func keepNetworksFlag() cli.Flag {
	return &cli.BoolFlag{Name: "keep-networks", Usage: "leave networks that are not the project's own as they are, instead of internal ones in their place"}
}

func testFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "tape", Usage: "`DIR` of a tape, or volume:NAME (may be given several times; default: tapes/default beside the compose file)"},
		&cli.StringSliceFlag{Name: "case", Usage: "send only the cases whose name matches `GLOB`, such as '0003-*' (may be given several times)"},
		&cli.BoolFlag{Name: "update", Usage: "put the answers of cases that differ on the tape, after showing how"},
		&cli.IntFlag{Name: "parallel", Usage: "send up to `N` cases at once, of those that did not stream", Value: 1},
		&cli.Float64Flag{Name: "speed", Usage: "play calls `X` times as fast as recorded; 0 means without any wait", Value: 1},
		onMissFlag(),
		upstreamCAFlag(),
		keepNetworksFlag(),
		&cli.StringFlag{Name: "report", Usage: "write index.html, junit.xml and report.json into `DIR`"},
	}
}

func sessionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Usage: "print events as JSON, one a line"},
		&cli.BoolFlag{Name: "privileged", Usage: "run the agent's container with --privileged instead of a few capabilities"},
		&cli.DurationFlag{Name: "ready-timeout", Usage: "`DURATION` that services may take to become ready", Value: 60 * time.Second},
	}
}
