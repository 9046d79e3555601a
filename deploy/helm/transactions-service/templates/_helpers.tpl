{{/* Names, labels, and the pod that the stable release, the canary and the migration have in common. */}}

{{- define "transactions.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "transactions.selector" -}}
app.kubernetes.io/name: transactions-service
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "transactions.labels" -}}
{{ include "transactions.selector" . }}
app: transactions-service
app.kubernetes.io/part-of: bank
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Of pods: nothing that changes with the chart, or with another version than theirs, or they would be replaced for it. */}}
{{- define "transactions.podLabels" -}}
{{ include "transactions.selector" . }}
app: transactions-service
app.kubernetes.io/part-of: bank
{{- end }}

{{/* (dict "root" $ "tag" … "digest" …) */}}
{{- define "transactions.image" -}}
{{- $tag := .tag | default .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{- if .digest -}}
{{ .root.Values.image.repository }}@{{ .digest }}
{{- else -}}
{{ .root.Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end }}

{{/* The version that migrates: the newest that is about to run, hence the canary's while there is one. */}}
{{- define "transactions.migrationImage" -}}
{{- if .Values.canary.enabled -}}
{{ include "transactions.image" (dict "root" . "tag" .Values.canary.tag "digest" .Values.canary.digest) }}
{{- else -}}
{{ include "transactions.image" (dict "root" . "tag" .Values.image.tag "digest" .Values.image.digest) }}
{{- end -}}
{{- end }}

{{/* Seconds of a duration as the settings have it; whole seconds, as the schema says. */}}
{{- define "transactions.seconds" -}}
{{- trimSuffix "s" . -}}
{{- end }}

{{- define "transactions.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10002
runAsGroup: 10002
fsGroup: 10002
seccompProfile:
  type: Localhost
  localhostProfile: {{ .Values.seccomp.localhostProfile }}
{{- end }}

{{- define "transactions.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The database, by reference. (dict "root" $ "secret" name) */}}
{{- define "transactions.databaseEnv" -}}
- name: DATABASE_HOST
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: host}}
- name: DATABASE_PORT
  value: {{ .root.Values.database.port | quote }}
- name: DATABASE_USER
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: user}}
- name: DATABASE_PASSWORD_FILE
  value: /run/secrets/database/password
- name: DATABASE_NAME
  value: {{ .root.Values.database.name | quote }}
# libpq reads these two itself.
- name: PGSSLMODE
  value: {{ .root.Values.database.sslMode }}
{{- if .root.Values.database.caSecret }}
- name: PGSSLROOTCERT
  value: /run/secrets/database-ca/ca.crt
{{- end }}
{{- end }}

{{- define "transactions.databaseMounts" -}}
- name: database
  mountPath: /run/secrets/database
  readOnly: true
{{- if .Values.database.caSecret }}
- name: database-ca
  mountPath: /run/secrets/database-ca
  readOnly: true
{{- end }}
{{- end }}

{{- define "transactions.databaseVolumes" -}}
# As a file, so that a new password needs no restart.
- name: database
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    items: [{key: password, path: password}]
{{- if .root.Values.database.caSecret }}
- name: database-ca
  secret:
    secretName: {{ .root.Values.database.caSecret }}
    defaultMode: 0440
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end }}
