//go:build linux

package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"syscall"
	"time"

	rtctokenbuilder "github.com/AgoraIO-Community/go-tokenbuilder/rtctokenbuilder"
	rtmtokenbuilder "github.com/AgoraIO-Community/go-tokenbuilder/rtmtokenbuilder"
	"github.com/gin-gonic/gin"
)

// httpServer is the token server of Agora's tutorials: net/http and Agora's builder.
func httpServer(*application) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rte/{channel}/{role}/{tokentype}/{uid}/", func(w http.ResponseWriter, _ *http.Request) {
		rtcToken, rtmToken, err := agoraMint()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "private, no-cache, no-store, must-revalidate")
		_ = json.NewEncoder(w).Encode(map[string]string{"rtcToken": rtcToken, "rtmToken": rtmToken})
	})
	return mux, nil
}

// ginServer does what the Go token server of Agora's community does for each request: Gin with its logger, two log
// lines, and the token builder of the community. The log is discarded.
func ginServer(*application) (http.Handler, error) {
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultWriter = io.Discard
	lines := log.New(io.Discard, "", log.LstdFlags)
	engine := gin.Default()
	engine.Use(func(c *gin.Context) {
		c.Header("Cache-Control", "private, no-cache, no-store, must-revalidate")
		c.Header("Expires", "-1")
		c.Header("Pragma", "no-cache")
		c.Next()
	})
	engine.GET("/rte/:channelName/:role/:tokentype/:uid/", func(c *gin.Context) {
		lines.Println("Generating RTC and RTM tokens")
		uid, err := strconv.ParseUint(c.Param("uid"), 10, 32)
		if err != nil {
			c.AbortWithStatusJSON(http.StatusBadRequest, gin.H{"error": err.Error(), "status": http.StatusBadRequest})
			return
		}
		rtcToken, rtmToken, err := communityMint(c.Param("channelName"), uint32(uid))
		if err != nil {
			c.AbortWithStatusJSON(http.StatusBadRequest, gin.H{"error": err.Error(), "status": http.StatusBadRequest})
			return
		}
		lines.Println("RTC and RTM Tokens generated")
		c.JSON(http.StatusOK, gin.H{"rtcToken": rtcToken, "rtmToken": rtmToken})
	})
	return engine, nil
}

func communityMint(channel string, uid uint32) (rtcToken, rtmToken string, err error) {
	seconds := uint32(lifetime.Seconds())
	rtcToken, err = rtctokenbuilder.BuildTokenWithUid(appID, certificate, channel, uid, rtctokenbuilder.RolePublisher, seconds)
	if err == nil {
		rtmToken, err = rtmtokenbuilder.BuildToken(appID, certificate, strconv.FormatUint(uint64(uid), 10), seconds, "")
	}
	return rtcToken, rtmToken, err
}

// runMint is a child process that mints pairs of an RTC and an RTM token, and prints the processor time for one pair.
func runMint(builder mint) func(choice) error {
	return func(c choice) error {
		var before, after syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before) // cannot fail for this process
		for range c.Count {
			if _, _, err := builder(); err != nil {
				return err
			}
		}
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
		took := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
		fmt.Println(mintPrefix + fmt.Sprint(float64(took.Nanoseconds())/1000/float64(c.Count)))
		return nil
	}
}

// mintPrefix begins the line in which a child process reports how many µs of processor time a pair of tokens took.
const mintPrefix = "minted in "
