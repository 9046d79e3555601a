{{/* A Deployment: (dict "root" $ "name" … "track" "stable" or "canary" "image" … "replicas" number or nil) */}}
{{- define "transactions.deployment" -}}
{{- $values := .root.Values -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  labels:
    {{- include "transactions.labels" .root | nindent 4 }}
    app.kubernetes.io/component: server
    track: {{ .track }}
spec:
  {{- if .replicas }}
  replicas: {{ .replicas }}
  {{- end }}
  revisionHistoryLimit: 10
  progressDeadlineSeconds: 600
  minReadySeconds: 5
  selector:
    matchLabels:
      {{- include "transactions.selector" .root | nindent 6 }}
      app.kubernetes.io/component: server
      track: {{ .track }}
  strategy:
    type: RollingUpdate
    # Never fewer than before: a new pod has to be ready before an old one goes.
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  template:
    metadata:
      labels:
        {{- include "transactions.podLabels" .root | nindent 8 }}
        app.kubernetes.io/component: server
        track: {{ .track }}
        {{- with $values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        kubectl.kubernetes.io/default-container: transactions-service
        # Other settings are other pods.
        checksum/settings: {{ toYaml $values.settings | sha256sum }}
        {{- with $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "transactions.name" .root }}
      # The service never speaks to the API server.
      automountServiceAccountToken: false
      # Or a Service named database puts DATABASE_PORT=tcp://… into the environment.
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
      {{- with $values.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "transactions.podSecurity" .root | nindent 8 }}
      topologySpreadConstraints:
        {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
        - topologyKey: {{ . }}
          maxSkew: 1
          # A preference: with a node or a zone away, pods must still find a place.
          whenUnsatisfiable: ScheduleAnyway
          # Counted for each release by itself, or old pods decide where new ones go.
          matchLabelKeys: [pod-template-hash]
          labelSelector:
            matchLabels:
              {{- include "transactions.selector" $.root | nindent 14 }}
              app.kubernetes.io/component: server
              track: {{ $.track }}
        {{- end }}
      containers:
        - name: transactions-service
          image: {{ .image }}
          imagePullPolicy: {{ $values.image.pullPolicy }}
          args: [serve]
          ports:
            - name: http
              containerPort: 8002
            - name: operations
              containerPort: {{ $values.operationsPort }}
          env:
            - name: SERVICE_PORT
              value: "8002"
            - name: OPERATIONS_PORT
              value: {{ $values.operationsPort | quote }}
            # Standard error, where the cluster's collector takes it; the root file system is read-only.
            - name: LOG_DIR
              value: none
            {{- range $name, $value := $values.settings }}
            - name: {{ $name }}
              value: {{ $value | quote }}
            {{- end }}
            {{- include "transactions.databaseEnv" (dict "root" .root "secret" $values.database.secret) | nindent 12 }}
            {{- if $values.secrets.jwksConfigMap }}
            - name: JWT_JWKS_FILE
              value: /run/jwks/jwks.json
            {{- else }}
            - name: JWT_SECRET_KEY_FILE
              value: /run/secrets/keys/jwt-secret-key
            {{- end }}
            - name: PIN_SECRET_KEY_FILE
              value: /run/secrets/keys/pin-secret-key
            {{- if $values.tls.secret }}
            - name: TLS_CERT_FILE
              value: /run/secrets/tls/tls.crt
            - name: TLS_KEY_FILE
              value: /run/secrets/tls/tls.key
            {{- end }}
            {{- if $values.tls.clientCaSecret }}
            - name: TLS_CLIENT_CA_FILE
              value: /run/secrets/client-ca/ca.crt
            {{- end }}
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          securityContext:
            {{- include "transactions.containerSecurity" . | nindent 12 }}
          # All three on the operations port: kubelet has no client certificate, and probes count for no client's limit.
          startupProbe:
            httpGet: {path: /livez, port: operations}
            periodSeconds: 2
            timeoutSeconds: 2
            failureThreshold: 30
          # Whether the event loops turn; says nothing of the database, or its failure would restart every pod.
          livenessProbe:
            httpGet: {path: /livez, port: operations}
            periodSeconds: 10
            timeoutSeconds: 3
            failureThreshold: 3
          # Whether the database is there; a pod without it gets no requests.
          readinessProbe:
            httpGet: {path: /readyz, port: operations}
            periodSeconds: 5
            timeoutSeconds: 3
            failureThreshold: 2
          volumeMounts:
            {{- include "transactions.databaseMounts" .root | nindent 12 }}
            - name: keys
              mountPath: /run/secrets/keys
              readOnly: true
            {{- if $values.secrets.jwksConfigMap }}
            - name: jwks
              mountPath: /run/jwks
              readOnly: true
            {{- end }}
            {{- if $values.tls.secret }}
            - name: tls
              mountPath: /run/secrets/tls
              readOnly: true
            {{- end }}
            {{- if $values.tls.clientCaSecret }}
            - name: client-ca
              mountPath: /run/secrets/client-ca
              readOnly: true
            {{- end }}
      volumes:
        {{- include "transactions.databaseVolumes" (dict "root" .root "secret" $values.database.secret) | nindent 8 }}
        - name: keys
          secret:
            secretName: {{ $values.secrets.name }}
            defaultMode: 0440
        {{- if $values.secrets.jwksConfigMap }}
        - name: jwks
          configMap:
            name: {{ $values.secrets.jwksConfigMap }}
        {{- end }}
        {{- if $values.tls.secret }}
        - name: tls
          secret:
            secretName: {{ $values.tls.secret }}
            defaultMode: 0440
        {{- end }}
        {{- if $values.tls.clientCaSecret }}
        - name: client-ca
          secret:
            secretName: {{ $values.tls.clientCaSecret }}
            defaultMode: 0440
        {{- end }}
{{- end }}
